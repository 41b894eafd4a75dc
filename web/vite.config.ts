import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// `npm run dev` shows the page over a running `frameworm ui --no-token`; where that listens is told by FRAMEWORM_UI.
const server = process.env.FRAMEWORM_UI ?? "http://127.0.0.1:6780";

export default defineConfig({
  plugins: [svelte()],
  // Nothing inline: the page runs under a policy without 'unsafe-inline' and without data: scripts.
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    // What several pages have in common is one file, but for what is large: a dozen small ones cost more to fetch.
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            { name: "common", minShareCount: 2, test: (id) => !/[\\/](marked|markdown|media|uplot)[\\/]/.test(id) },
          ],
        },
      },
    },
  },
  server: { host: "127.0.0.1", proxy: { "/api": { target: server, changeOrigin: true } } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
