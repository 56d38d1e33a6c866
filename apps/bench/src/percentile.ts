/** The nearest-rank percentile of ascending values: one that was measured, never one between two. NaN of none. */
export function percentile(ascending: ArrayLike<number>, percent: number): number {
  const rank = Math.ceil((percent / 100) * ascending.length);
  return ascending[Math.max(rank, 1) - 1] ?? Number.NaN;
}
