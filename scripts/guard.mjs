import { orSayWhyNot, root, setup } from './setup.mjs';

/** `npm run guard`: makes the checkout ready, then counts what requests cost, and fails when one costs more than it may. */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const { main } = await import('../dist/apps/bench/src/guard/main.js');
  process.exitCode = await main(process.argv.slice(2));
});
