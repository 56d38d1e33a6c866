import { Inject, Injectable } from '@nestjs/common';
import {
  CodedError,
  InvalidRequest,
  NoRoute,
  type RotateRootReply,
  type RotateRootRequest,
  RotationFailed,
  Unavailable,
} from '#libs/contracts';
import { LEASE_TIMING, type LeaseTiming } from '#libs/leases';
import { type Mount, Mounts, RootConfigs, type Rotation, Rotations } from '#libs/roles';
import { Authorizing } from './authorizing.js';
import { RotateKey } from './rotate-key.js';

/** Rotates the root key of a mount because somebody asks for it (contract.md 2.3). */
@Injectable()
export class RotateRoot {
  constructor(
    private readonly authorizing: Authorizing,
    private readonly mounts: Mounts,
    private readonly rootConfigs: RootConfigs,
    private readonly rotations: Rotations,
    private readonly rotateKey: RotateKey,
    @Inject(LEASE_TIMING) private readonly timing: LeaseTiming,
  ) {}

  /**
   * @throws CodedError `permission_denied`, `no_route`; `invalid_request` where there are no keys to rotate; `unavailable` while
   * the key before the one of today is not removed yet; `rotation_failed` with the texts of contract.md 2.3.
   */
  async execute(command: RotateRootRequest): Promise<RotateRootReply> {
    const until = answersUntil(command);
    const path = `${command.mount}config/rotate-root`;
    const wanted = { operations: ['update' as const], path, parameters: command.parameters ?? {} };
    return this.authorizing.onBehalfOf(command, wanted, async () => {
      const mount = await livingMount(this.mounts, command.mount);
      const { rotation, isOurs } = await this.begun(mount, command);
      if (rotation.state === 'retiring' || rotation.state === 'watching') return answerOf(rotation, true);
      const standing = await asRotationFailed(this.rotateKey.drive(rotation.id, until, isOurs ? rotation : undefined));
      if (standing?.state === 'creating') {
        const why = standing.lastError ?? 'AWS has not made a new key yet';
        throw new RotationFailed(`${why}\nIt is tried again by itself.`, { retryable: true });
      }
      if (!standing || standing.newKeyId === null || standing.state === 'undoing') {
        throw new RotationFailed('the rotation that was under way came to nothing: ask again', { retryable: true });
      }
      return answerOf(standing, standing.state !== 'trying');
    });
  }

  /** A new rotation, or the one under way; one that this very command began is found again when it is delivered twice. */
  private async begun({ id: mountId }: Mount, { id: commandId, requestId }: RotateRootRequest): Promise<Begun> {
    const { version, settings, secretKey } = await this.rootConfigs.open(mountId);
    if (version === '0') throw new RotationFailed('no configuration found for config/root');
    if (settings.accessKey === '' || secretKey === '') {
      throw new InvalidRequest('Cannot call config/rotate-root when either access_key or secret_key is empty');
    }
    const oldKeyId = settings.accessKey;
    const begun = await this.rotations.beginRoot({ mountId, oldKeyId, commandId, requestId }, this.timing.claimMs);
    if (begun) return { rotation: begun, isOurs: true };
    const underWay = await this.rotations.underWay(mountId, null);
    if (!underWay) throw new Unavailable('Another rotation has just ended: ask again.', { retryAfterSeconds: 1 });
    const isJoined = ['creating', 'trying'].includes(underWay.state) || underWay.commandId === commandId;
    if (isJoined) return { rotation: underWay, isOurs: false };
    throw new Unavailable(
      'The root key was rotated a moment ago, and the key before it is not removed yet, so AWS would take no third one: ask again later.',
      { retryAfterSeconds: Math.ceil(this.timing.retireAfterMs / 1000) },
    );
  }
}

/** A rotation to wait for; ours: just begun, and claimed. */
interface Begun {
  rotation: Rotation;
  isOurs: boolean;
}

function answerOf({ newKeyId }: Rotation, inUse: boolean): RotateRootReply {
  return { accessKeyId: newKeyId!, inUse };
}

/** Half of the wait: the other half may have been spent in the queue. On the clock of `performance.now()`. */
export function answersUntil({ waitMs }: { waitMs: number }): number {
  return performance.now() + waitMs / 2;
}

/** @throws NoRoute */
export async function livingMount(mounts: Mounts, path: string): Promise<Mount> {
  const mount = await mounts.find(path);
  if (!mount || mount.taintedAt) throw new NoRoute(`no handler for route "${path}". route entry not found.`);
  return mount;
}

/** Whatever AWS did is told in the words of the rotation, with status 500 (contract.md 5.2). */
export async function asRotationFailed<T>(work: Promise<T>, prefix = ''): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof CodedError) || !error.code.startsWith('aws_')) throw error;
    throw new RotationFailed(`${prefix}${error.message}`, { retryable: error.retryable, cause: error });
  }
}
