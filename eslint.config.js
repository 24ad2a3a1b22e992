import { defineConfig } from "eslint/config";
import { builtinRules } from "eslint/use-at-your-own-risk";
import tseslint from "typescript-eslint";

/** What ESLint itself recommends; the package @eslint/js says the same. */
const recommended = [...builtinRules]
  .filter(([, rule]) => rule.meta.docs?.recommended)
  .map(([name]) => [name, "error"]);

const HARDHAT = /^(hardhat|@nomicfoundation\/[^/]+)(\/|$)/;
const PURE = /^@noble\/.*$/;
const SOURCES = [
  "artifacts",
  "bench",
  "client",
  "contracts",
  "http",
  "ignition",
  "indexer",
  "io",
  "protocol",
  "relay",
  "scripts",
  "tasks",
  "types",
];
/**
 * Who may import what: `protocol ← io ← tasks, indexer, relay`, `protocol ← http ← indexer, relay`, `protocol ← client ← tasks`, and nothing outside test/
 * imports test/. Services and their client share what the API answers with: client/api.
 *
 * `folders` are the only folders of this repository that it may import from, `packages` the only packages (Node's own
 * modules among them), `not` the packages it may not import.
 */
const LAYERS = {
  protocol: { folders: ["protocol"], packages: PURE, why: "protocol/ is pure and runs in a browser" },
  client: {
    folders: ["protocol", "client"],
    packages: /^eventsource-parser$/,
    why: "client/ runs in a browser and believes no server, so it knows none from the inside",
  },
  io: {
    folders: ["protocol", "io"],
    not: HARDHAT,
    why: "io/ serves tasks and services alike, and services run without Hardhat",
  },
  tasks: {
    folders: SOURCES.filter((folder) => folder !== "indexer" && folder !== "relay"),
    why: "tasks/ imports no service, and no service imports tasks/",
  },
  http: {
    folders: ["protocol", "http", "client/api"],
    not: HARDHAT,
    why: "http/ serves every service of this project and knows none",
  },
  indexer: {
    folders: ["protocol", "io", "http", "indexer", "client/api"],
    not: HARDHAT,
    why: "the indexer runs without Hardhat and tasks/",
  },
  relay: {
    folders: ["protocol", "io", "http", "relay", "client/api"],
    not: HARDHAT,
    why: "the relay runs without Hardhat, tasks/ and the indexer",
  },
  bench: { folders: SOURCES, why: "nothing outside test/ imports test/" },
  ignition: { folders: SOURCES, why: "nothing outside test/ imports test/" },
  scripts: { folders: SOURCES, why: "nothing outside test/ imports test/" },
};
/** Single files that may import what their folder may not. */
const EXCEPTIONS = {
  "protocol/crypto/node-native.ts": /^node:crypto$/,
  "protocol/crypto/libsodium.ts": /^node:module$/,
  "protocol/crypto/provider.ts": /^#native$/,
};

/** no-restricted-imports knows neither `import()` nor where a relative path leads, and both matter here. */
const layers = {
  meta: { type: "problem", schema: [], messages: { forbidden: "{{file}} may not import {{specifier}}: {{why}}." } },
  create(context) {
    const root = `${import.meta.dirname.replaceAll("\\", "/")}/`;
    const url = new URL(`file://${context.filename.replaceAll("\\", "/")}`);
    const file = context.filename.replaceAll("\\", "/").replace(root, "");
    const layer = LAYERS[file.split("/")[0]];
    if (layer === undefined) return {};
    const isAllowed = (specifier, isType) => {
      if (isType && specifier.startsWith("node:")) return true; // erased, and every platform's types are there
      if (EXCEPTIONS[file]?.test(specifier)) return true;
      if (/^\.{0,2}\//.test(specifier)) {
        const path = new URL(specifier, url).pathname.replace(root, "");
        if (!path.includes("/")) return file.split("/")[0] !== "protocol";
        return layer.folders.some((folder) => path.startsWith(`${folder}/`));
      }
      return (layer.packages?.test(specifier) ?? true) && !(layer.not?.test(specifier) ?? false);
    };
    const check = ({ type, source, importKind }) => {
      const specifier = source?.value;
      const isType = type === "TSImportType" || importKind === "type";
      if (typeof specifier !== "string" || isAllowed(specifier, isType)) return;
      context.report({ node: source, messageId: "forbidden", data: { file, specifier, why: layer.why } });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
      TSImportType: check,
    };
  },
};

export default defineConfig(
  { ignores: ["node_modules/", "artifacts/", "cache/", "types/", "coverage/", ".dmtp/", "ignition/deployments/"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  { rules: Object.fromEntries(recommended) },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { dmtp: { rules: { layers } } },
    rules: {
      "dmtp/layers": "error",
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": [
        "error",
        { fixStyle: "inline-type-imports", disallowTypeAnnotations: false },
      ],
      "@typescript-eslint/no-floating-promises": ["error", { checkThenables: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }], // bigint is a number to it
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      // `_` is what a signature has to take and a body does not need.
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      // environment["NAME"]: a name that nobody declared does not look like a member.
      "@typescript-eslint/dot-notation": ["error", { allowIndexSignaturePropertyAccess: true }],
      // `() => close()` where the value does not matter is no mistake.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
    },
  },
  {
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/no-unused-expressions": "off", // chai: expect(x).to.be.true
      "@typescript-eslint/no-non-null-assertion": "off", // a test that is wrong about it fails, as it should
      "@typescript-eslint/no-unsafe-assignment": "off", // JSON answers are asserted on, member by member
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off", // readVectors<Shape>(name)
    },
  },
  {
    files: ["**/*.{js,mjs}"],
    languageOptions: {
      globals: Object.fromEntries(
        ["console", "process", "URL", "setTimeout", "clearTimeout", "setInterval", "clearInterval"].map((name) => [
          name,
          false,
        ]),
      ),
    },
  },
);
