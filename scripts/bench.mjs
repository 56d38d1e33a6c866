import { orSayWhyNot, root, setup } from './setup.mjs';

/** `npm run bench`: makes the checkout ready, then measures. */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const { main } = await import('../dist/apps/bench/src/main.js');
  process.exitCode = await main(process.argv.slice(2));
});
