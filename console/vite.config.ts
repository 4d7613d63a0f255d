import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The hub serves the built files from its own package: that is where the wheel picks them up.
export default defineConfig({
  plugins: [react()],
  build: { outDir: "../dth/hub/console", emptyOutDir: true, target: "es2023", chunkSizeWarningLimit: 500 },
  server: { proxy: { "/graphql": "http://127.0.0.1:8642", "/login": "http://127.0.0.1:8642" } },
  test: { include: ["tests/**/*.test.ts"], isolate: false },
});
