import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";
import { App } from "./app";
import { Language } from "./i18n";
import { Session } from "./session";
import "./styles/index.css";

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Language>
        <Session>
          <BrowserRouter>
            <App />
          </BrowserRouter>
        </Session>
      </Language>
    </StrictMode>,
  );
}
