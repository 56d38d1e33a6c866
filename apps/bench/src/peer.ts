/** What the figures below are of. */
export const aboutPeer =
  'The peer is the best open server with this engine, a single Go process with its own durable store, measured on two shared ' +
  'cores that load and simulated AWS ran on too: to be read as ratios, not as what it does on this machine.';

/** What the peer was measured to take, in the units of the targets. */
export const peerFigures = {
  credsMs0: 10.9,
  credsMs20: 79,
  credsMs50: 168,
  revokeMs0: 8.7,
  revokeMs20: 162,
  revokeMs50: 371,
  assumedMs0: 6.1,
  assumedMs50: 60,
  federationMs0: 5.7,
  federationMs50: 61,
  renewMs1: 2.9,
  renewMs16: 10.8,
  renewPerSecond: 1_330,
  credsPerSecond: 537,
  revokePerSecond: 503,
  assumedPerSecond: 835,
  roleReadPerSecond: 4_180,
  cpuPerCredentialMs: 2.5,
  lateP50Seconds: 1.8,
  lateP99Seconds: 3.4,
  idleMb: 150,
  loadedMb: 391,
  prefixSeconds: 112,
};

/** Its calls to AWS in the life of a lease, by the shape of the role, as far as they were counted. */
export const peerCalls: Record<string, number> = { 'inline policy': 10, 'managed, inline and tags': 13 };
