import { init } from 'echarts';
import type { Plot } from './report.js';

const size = { width: 760, height: 420 };

/** A plot as the text of an SVG file, drawn without a browser. */
export function drawn({ title, unit, kind, categories, series }: Plot): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, ...size });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: '#ffffff',
      title: { text: title, left: 'center', textStyle: { fontSize: 15 } },
      legend: { bottom: 5, itemGap: 40, show: series.length > 1 },
      grid: { left: 70, right: 30, top: 60, bottom: 40, containLabel: true },
      xAxis: {
        type: 'category',
        data: categories,
        axisLabel: {
          interval: kind === 'bars' ? 0 : 'auto',
          rotate: kind === 'bars' && categories.length > 6 ? 35 : 0,
        },
      },
      yAxis: { type: 'value', name: unit },
      series: series.map(({ name, values }) => ({
        name,
        type: kind === 'bars' ? 'bar' : 'line',
        showSymbol: false,
        // A dash is what it draws nothing for.
        data: values.map((value) =>
          value === undefined || !Number.isFinite(value) ? '-' : Number(value.toPrecision(4)),
        ),
      })),
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
