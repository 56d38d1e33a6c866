import { orSayWhyNot, root, setup } from './setup.mjs';

/** `npm run bench:access-keys`: makes the checkout ready, then measures among a million leases, or as many as are said. */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const { main } = await import('../dist/apps/bench/src/access-keys.js');
  process.exitCode = await main(process.argv.slice(2));
});
