import type { Fleet, Kind } from '../../apps/cluster/src/fleet.js';
import { type FleetOptions, startFleet } from './services.js';
import { World, type WorldOptions } from './world.js';

/**
 * A world whose system is services, each a process; `given` says which, and what differs for them: by default a gateway, two
 * issuers and a revoker. Closing the world ends them.
 */
export async function worldOfServices(
  options: WorldOptions,
  given: Partial<FleetOptions> & { kinds?: Kind[] } = {},
): Promise<{ world: World; fleet: Fleet }> {
  let fleet!: Fleet;
  const world = await World.start({
    ...options,
    run: async (system) => {
      fleet = await startFleet(system, given);
      return { url: fleet.running('gateway')[0]!.url, close: () => fleet.close() };
    },
  });
  return { world, fleet };
}
