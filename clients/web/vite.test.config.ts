// Bundles the unit tests into files that Node runs.
import { readdirSync } from 'node:fs';
import { defineConfig } from 'vite';

const tests = readdirSync('test').filter(name => name.endsWith('.test.ts'));

export default defineConfig({
  build: { ssr: true, outDir: 'build', copyPublicDir: false, minify: false, rollupOptions: { input: tests.map(name => `test/${name}`) } },
});
