/** What the journeys and the specs beside the code have in common. */
const common = {
  testEnvironment: 'node',
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'ts', 'json', 'node'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
          keepClassNames: true,
        },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: {
    '^#libs/([^/]+)$': '<rootDir>/libs/$1/src/index.ts',
    '^#servers$': '<rootDir>/scripts/servers/index.mjs',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
};

/**
 * The journeys that run on both shapes: everything in one process, and three services over real servers. What a gateway answers
 * by itself is the same in both, and runs in one process alone.
 */
const onBothShapes =
  '/test/(aws-calls|contract-(clients|credentials|leases|tokens|wrapping)|idempotency|limits|pools|' +
  'quick-start|secrets|stopping|what-roles-lend)\\.spec\\.ts$';

export default {
  testTimeout: 30_000,
  projects: [
    {
      ...common,
      displayName: 'units',
      roots: ['<rootDir>/apps', '<rootDir>/libs', '<rootDir>/scripts'],
      testRegex: '\\.spec\\.(ts|mjs)$',
      testPathIgnorePatterns: ['/scripts/servers/'],
    },
    {
      ...common,
      displayName: 'embedded',
      roots: ['<rootDir>/test'],
      testRegex: '/test/((clients|fuzz|model)/)?[^/]*\\.spec\\.ts$',
    },
    {
      ...common,
      displayName: 'services',
      roots: ['<rootDir>/test', '<rootDir>/scripts/servers'],
      testRegex: [onBothShapes, '/test/services/.*\\.spec\\.ts$', '/scripts/servers/.*\\.spec\\.mjs$'],
      globals: { SHAPE: 'services' },
    },
  ],
};
