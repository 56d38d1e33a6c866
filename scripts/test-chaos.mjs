import { orSayWhyNot, root, setup } from './setup.mjs';

/** `npm run test:chaos`: makes the checkout ready, then kills services between every two effects and counts what is left. */
await orSayWhyNot(async () => {
  process.chdir(root);
  await setup({ say: (line) => process.stdout.write(`${line}\n`) });
  const { main } = await import('../dist/test/chaos/main.js');
  process.exit(await main(process.argv.slice(2)));
});
