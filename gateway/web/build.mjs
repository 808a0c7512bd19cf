// Builds the pages into dist/: a script and a style for each page, what they share in files of its own,
// and a hash of the content in every name. Nothing is loaded from elsewhere when they run.

import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

const home = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

/** The pages: the folder of their source, and what their tab says. */
const PAGES = {
  index: "Jitney",
  rider: "Ride with Jitney",
  driver: "Drive with Jitney",
  city: "The city: Jitney",
  share: "A shared ride: Jitney",
};

/** `import url from "name?url"` gives the address of a file that is served as it is. */
const asUrl = {
  name: "as-url",
  setup(build) {
    build.onResolve({ filter: /\?url$/ }, ({ path: asked, resolveDir }) => {
      const bare = asked.slice(0, -"?url".length);
      const found = bare.startsWith(".") ? path.join(resolveDir, bare) : require.resolve(bare);
      // Relative, so that the same sources give the same files wherever they are built.
      return { path: path.relative(home, found), namespace: "as-url" };
    });
    build.onLoad({ filter: /.*/, namespace: "as-url" }, async ({ path: file }) => {
      // Maps of the library's own source are not served.
      const text = (await readFile(path.join(home, file), "utf8")).replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");
      return { contents: text, loader: "file" };
    });
  },
};

const built = await esbuild.build({
  absWorkingDir: home,
  entryPoints: Object.fromEntries(Object.keys(PAGES).map((page) => [page, `src/${page}/main.tsx`])),
  outdir: "dist",
  entryNames: "assets/[name]-[hash]",
  chunkNames: "assets/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  publicPath: "/",
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  legalComments: "none",
  metafile: true,
  write: false,
  plugins: [asUrl],
  logLevel: "warning",
});

const files = new Map(built.outputFiles.map(({ path: file, contents }) => [path.relative(path.join(home, "dist"), file), contents]));
const template = await readFile(path.join(home, "src/page.html"), "utf8");
for (const [page, title] of Object.entries(PAGES)) {
  const outputs = Object.entries(built.metafile.outputs);
  const [script, output] = outputs.find(([, { entryPoint }]) => entryPoint === `src/${page}/main.tsx`);
  const address = (name) => `/${path.relative("dist", name)}`;
  const head = [
    output.cssBundle && `<link rel="stylesheet" href="${address(output.cssBundle)}">`,
    ...output.imports
      .filter(({ kind }) => kind === "import-statement")
      .map(({ path: chunk }) => `<link rel="modulepreload" href="${address(chunk)}">`),
    `<script type="module" src="${address(script)}"></script>`,
  ];
  const text = template.replace("{title}", title).replace("{head}", head.filter(Boolean).join("\n"));
  files.set(`${page}.html`, Buffer.from(text));
}
files.set("assets/licences.txt", Buffer.from(await licences(built.metafile)));

/** The licences of what is in the bundles, as they ask for. */
async function licences(metafile) {
  const inputs = Object.keys(metafile.inputs).map((input) => input.replace(/^as-url:/, ""));
  const packages = inputs.map((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]).filter(Boolean);
  const told = [];
  for (const name of [...new Set(packages)].sort()) {
    const folder = path.join(home, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file ? await readFile(path.join(folder, file), "utf8") : "";
    told.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return told.join(`\n${"-".repeat(80)}\n\n`);
}

// What is the same as before is left alone, so that the program is not built again for nothing.
const stamp = createHash("sha256");
for (const [name, contents] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) stamp.update(name).update(contents);
const hash = stamp.digest("hex");
const mark = path.join(home, "node_modules", ".pages-built");
const before = await readFile(mark, "utf8").catch(() => "");
const there = await readdir(path.join(home, "dist")).catch(() => []);
if (before !== hash || there.length === 0) {
  const fresh = path.join(home, "node_modules", ".pages-fresh");
  await rm(fresh, { recursive: true, force: true });
  await mkdir(path.join(fresh, "assets"), { recursive: true });
  for (const [name, contents] of files) await writeFile(path.join(fresh, name), contents);
  await rm(path.join(home, "dist"), { recursive: true, force: true });
  await rename(fresh, path.join(home, "dist"));
  await writeFile(mark, hash);
}
