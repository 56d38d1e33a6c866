const months = 'January February March April May June July August September October November December'.split(' ');
const weekdays = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');
const dayMs = 24 * 60 * 60 * 1000;

/** Parts of a Go layout, where two could match at one place the one that Go prefers first. */
const layoutPart = new RegExp(
  [
    'January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST',
    '002|0[1-6]|15|1|2006|2|__2|_2(?!006)|3|4|5|PM|pm',
    '[-Z]07(?:0000|:00:00|00|:00)?',
    '[.,](?:0+|9+)(?!\\d)',
  ].join('|'),
  'g',
);

/**
 * An instant as Go's `time.Format` prints it in UTC: the layout is an example, the moment 2006-01-02 15:04:05.
 * https://pkg.go.dev/time#Layout
 */
export function formatTime(instant: Date, layout: string): string {
  return layout.replace(layoutPart, (part) => print(instant, part));
}

function print(instant: Date, part: string): string {
  const year = instant.getUTCFullYear();
  const month = instant.getUTCMonth();
  const day = instant.getUTCDate();
  const hour = instant.getUTCHours();
  const hour12 = hour % 12 || 12;
  const minute = instant.getUTCMinutes();
  const second = instant.getUTCSeconds();
  const dayOfYear = (Date.UTC(year, month, day) - Date.UTC(year, 0, 1)) / dayMs + 1;
  const monthName = months[month] ?? '';
  const weekday = weekdays[instant.getUTCDay()] ?? '';
  switch (part) {
    case '2006':
      return zeros(year, 4);
    case '06':
      return zeros(year % 100, 2);
    case 'January':
      return monthName;
    case 'Jan':
      return monthName.slice(0, 3);
    case '01':
      return zeros(month + 1, 2);
    case '1':
      return String(month + 1);
    case 'Monday':
      return weekday;
    case 'Mon':
      return weekday.slice(0, 3);
    case '02':
      return zeros(day, 2);
    case '_2':
      return String(day).padStart(2);
    case '2':
      return String(day);
    case '002':
      return zeros(dayOfYear, 3);
    case '__2':
      return String(dayOfYear).padStart(3);
    case '15':
      return zeros(hour, 2);
    case '03':
      return zeros(hour12, 2);
    case '3':
      return String(hour12);
    case '04':
      return zeros(minute, 2);
    case '4':
      return String(minute);
    case '05':
      return zeros(second, 2);
    case '5':
      return String(second);
    case 'PM':
      return hour < 12 ? 'AM' : 'PM';
    case 'pm':
      return hour < 12 ? 'am' : 'pm';
    case 'MST':
      return 'UTC';
    default:
      return printZoneOrFraction(instant, part);
  }
}

function printZoneOrFraction(instant: Date, part: string): string {
  if (part.startsWith('Z')) return 'Z';
  if (part.startsWith('-')) return part.replace('-', '+').replace('7', '0');
  const digits = zeros(instant.getUTCMilliseconds(), 3)
    .padEnd(part.length - 1, '0')
    .slice(0, part.length - 1);
  if (part[1] === '0') return part.slice(0, 1) + digits;
  const significant = digits.replace(/0+$/, '');
  return significant === '' ? '' : part.slice(0, 1) + significant;
}

function zeros(value: number, digits: number): string {
  return String(value).padStart(digits, '0');
}
