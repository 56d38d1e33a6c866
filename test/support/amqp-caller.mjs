import { LeaseholdClient } from '../../dist/libs/client/src/index.js';

/** An internal service that asks for credentials of the mount `aws/` and tells its parent each lease; it is there to be killed. */
process.once('disconnect', () => process.exit());
process.once('message', async ({ role, count, ...options }) => {
  const client = new LeaseholdClient(options);
  const ask = async () => {
    const { leaseId } = await client.issue({ mount: 'aws', role });
    process.send({ leaseId });
  };
  await Promise.all(Array.from({ length: count }, ask));
});
process.send({ ready: true });
