// Vite plugins that run after bundling: they fill in the service worker and compress the files.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'vite';

const COMPRESSIBLE = /\.(html|js|css|svg|webmanifest)$/;

const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => path.join(entry.parentPath ?? entry.path, entry.name));

/** Returns a plugin that calls `act` with the output folder after the build. */
function afterwards(name: string, act: (folder: string) => void): Plugin {
  let folder = '';
  return {
    name,
    apply: 'build',
    configResolved: ({ root, build }) => void (folder = path.resolve(root, build.outDir)),
    closeBundle: () => act(folder),
  };
}

/** Writes the list of files to cache and a hash of them, the cache's version, into `sw.js`. */
export const serviceWorker = (): Plugin =>
  afterwards('service-worker', folder => {
    const worker = path.join(folder, 'sw.js');
    const kept = files(folder).filter(file => file !== worker && !/(-512\.png|robots\.txt)$/.test(file));
    const version = createHash('sha256');
    kept.sort().forEach(file => version.update(file.slice(folder.length)).update(readFileSync(file)));
    const urls = kept.map(file => `/${path.relative(folder, file)}`.replace('/index.html', '/'));
    const text = readFileSync(worker, 'utf8');
    writeFileSync(worker, text.replace("'VERSION'", `'${version.digest('hex').slice(0, 16)}'`).replace('[/* FILES */]', JSON.stringify(urls)));
  });

/**
 * Writes a `.br` and a `.gz` beside each compressible file, so that the server never compresses at
 * run time.
 */
export const precompress = (): Plugin =>
  afterwards('precompress', folder => {
    for (const file of files(folder).filter(name => COMPRESSIBLE.test(name))) {
      const raw = readFileSync(file);
      const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length };
      writeFileSync(`${file}.br`, brotliCompressSync(raw, { params }));
      writeFileSync(`${file}.gz`, gzipSync(raw, { level: 9 }));
    }
  });
