import { startSimulator } from './simulator.js';

/** SIMULATOR_HOST (default 127.0.0.1), SIMULATOR_PORT (default 4599) and SIMULATOR_STATE_FILE (default: none). */
const { SIMULATOR_HOST: host, SIMULATOR_PORT: port = '4599', SIMULATOR_STATE_FILE: stateFile } = process.env;
const simulator = await startSimulator({
  port: Number(port),
  ...(host === undefined ? {} : { host }),
  ...(stateFile === undefined ? {} : { stateFile }),
});

const stop = () => void simulator.close();
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
process.stdout.write(`simulator of IAM and STS at ${simulator.url}\n`);
