import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The hub serves the built files from its own package: `python -m hatchling build` picks them up there.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../dth/hub/console",
    emptyOutDir: true,
    target: "es2023",
    reportCompressedSize: true,
    chunkSizeWarningLimit: 800,
  },
  server: { proxy: { "/graphql": "http://127.0.0.1:8642", "/login": "http://127.0.0.1:8642" } },
  test: { environment: "happy-dom", include: ["tests/unit/**/*.test.{ts,tsx}"] },
});
