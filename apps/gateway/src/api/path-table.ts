import { type ApiPart, type ApiPath, expressionOf } from './api-path.js';
import { routeLabel } from './route-label.js';

/** A path that was found, with what its pattern caught. */
export interface Match<Request> {
  path: ApiPath<Request>;
  params: Record<string, string>;
  /** Its name in figures. */
  route: string;
}

/** The paths of one part of the tree, in the order in which they are tried. */
export class PathTable<Request> {
  readonly paths: ApiPath<Request>[];
  private readonly compiled: [RegExp, ApiPath<Request>][];

  constructor(parts: ApiPart<Request>[]) {
    this.paths = parts.flatMap((part) => part.paths());
    this.compiled = this.paths.map((path) => [expressionOf(path.pattern), path]);
  }

  /** The first path that takes `path` (relative to the mount), or null. */
  match(path: string): Match<Request> | null {
    for (const [expression, candidate] of this.compiled) {
      const found = expression.exec(path);
      if (!found) continue;
      const params = Object.fromEntries(Object.entries(found.groups ?? {}).map(([name, value]) => [name, value ?? '']));
      return { path: candidate, params, route: routeLabel(candidate.pattern, path) };
    }
    return null;
  }
}
