/**
 * The name of a path for figures: the part of its pattern that is ours, such as `sys/mounts/tune`. Where the pattern
 * leaves a choice of our own words, `(creds|sts)`, the one that `asked` begins with. What a caller chose is not in it.
 */
export function routeLabel(pattern: string, asked: string): string {
  const segments = asked.split('/');
  let label = pattern.replaceAll(/\((?:\?P<\w+>)?(\w+(?:\|\w+)+)\)/g, (_, words: string) => {
    const choice = words.split('|');
    return segments.find((segment) => choice.includes(segment)) ?? choice[0]!;
  });
  for (let before = ''; before !== label;) {
    before = label;
    label = label.replaceAll(/\([^()]*\)\??/g, '');
  }
  return label.replaceAll(/\/+/g, '/').replace(/\/$/, '');
}
