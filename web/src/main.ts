import { mount } from "svelte";
import App from "./App.svelte";
import { router } from "./router/router.svelte";
import "./theme.css";
import { table } from "./views/experiments/table.svelte";

// The server looks for the rows while the page is being put up.
if (router.current.name === "experiments") table.ask();

const target = document.getElementById("app");
if (target !== null) mount(App, { target });
