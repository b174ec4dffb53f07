// Builds the web pages from src/web into dist/web, and compresses each file once, so that the agent does not have to.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'vite';
import { root } from './setup.mjs';

const source = join(root, 'src', 'web');
const target = join(root, 'dist', 'web');
const COMPRESSED = /\.(html|js|css|svg|json|webmanifest)$/;

// Whatever the environment has: another value, such as that of the tests, would put the paths of the sources into the pages.
process.env.NODE_ENV = 'production';
await build({
  configFile: false,
  root: source,
  // Relative addresses: the pages also work below another path and from any static web server.
  base: './',
  publicDir: join(source, 'public'),
  logLevel: 'warn',
  build: {
    outDir: target,
    emptyOutDir: true,
    // The licences of the packages whose code is in the pages.
    license: { fileName: 'licenses.md' },
    target: 'es2022',
    // The content security policy of the pages allows no data: addresses for scripts and styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { device: join(source, 'index.html'), fleet: join(source, 'fleet.html') } },
  },
});

for (const entry of readdirSync(target, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !COMPRESSED.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const bytes = readFileSync(path);
  writeFileSync(
    `${path}.br`,
    brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
  );
  writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
}
