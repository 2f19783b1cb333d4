import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import { precompress, serviceWorker } from './build-steps';

const server = process.env.RAIDHALL_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react(), serviceWorker(), precompress()],
  // The SDK's own node_modules contain a second React, which its tests use.
  resolve: { dedupe: ['react', 'react-dom'] },
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 400 },
  server: { proxy: { '/api': { target: server, ws: true } } },
});
