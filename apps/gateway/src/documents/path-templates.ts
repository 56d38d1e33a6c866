import { type AST, RegExpParser } from '@eslint-community/regexpp';

const parser = new RegExpParser({ ecmaVersion: 2024 });

/**
 * The templates of OpenAPI that a pattern stands for: one for each of its choices, with a parameter for each named group.
 * `sys/(leases/)?renew(/(?P<id>.+))?` gives `sys/renew`, `sys/leases/renew`, `sys/renew/{id}` and `sys/leases/renew/{id}`.
 */
export function templatesOf(pattern: string): string[] {
  return ofAlternatives(parser.parsePattern(pattern.replaceAll('(?P<', '(?<')).alternatives);
}

function ofAlternatives(alternatives: AST.Alternative[]): string[] {
  return alternatives.flatMap(({ elements }) =>
    elements.reduce((heads, element) => ofElement(element).flatMap((tail) => heads.map((head) => head + tail)), ['']),
  );
}

function ofElement(element: AST.Element | AST.QuantifiableElement): string[] {
  switch (element.type) {
    case 'Character':
      return [String.fromCodePoint(element.value)];
    case 'Group':
      return ofAlternatives(element.alternatives);
    case 'CapturingGroup':
      return element.name ? [`{${element.name}}`] : ofAlternatives(element.alternatives);
    case 'Quantifier':
      if (element.min === 0 && element.max === 1) return ['', ...ofElement(element.element)];
  }
  throw new Error(`A path of the API cannot have "${element.raw}" outside a named group.`);
}
