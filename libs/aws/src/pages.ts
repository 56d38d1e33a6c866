/** Collects what `pick` finds on every page of one of IAM's lists, to the last. */
export async function everyPage<Page extends { IsTruncated?: boolean; Marker?: string }>(
  ask: (marker?: string) => Promise<Page>,
  pick: (page: Page) => (string | undefined)[] | undefined,
): Promise<string[]> {
  const found: string[] = [];
  let marker: string | undefined;
  do {
    const page = await ask(marker);
    for (const each of pick(page) ?? []) if (each !== undefined) found.push(each);
    marker = page.IsTruncated ? page.Marker : undefined;
  } while (marker !== undefined);
  return found;
}
