import { orSayWhyNot, root, setup } from './setup.mjs';

/** `npm start`: makes the checkout ready, then runs the whole system in this process. */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const { main } = await import('../dist/apps/standalone/src/main.js');
  await main(process.argv.slice(2));
});
