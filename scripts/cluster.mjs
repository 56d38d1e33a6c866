import { orSayWhyNot, root, setup } from './setup.mjs';

/** `npm run cluster`: makes the checkout ready, then runs the services as processes over real servers. */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const { main } = await import('../dist/apps/cluster/src/main.js');
  await main();
});
