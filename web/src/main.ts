import { mount } from "svelte";
import App from "./App.svelte";
import { router } from "./router/router.svelte";
import "./theme.css";
import { loadCharts } from "./views/charts/ahead";
import { table } from "./views/experiments/table.svelte";

// The server looks for the rows, and for what there is to draw, while the page is being put up.
if (router.current.name === "experiments") table.ask();
else loadCharts(router.current);

const target = document.getElementById("app");
if (target !== null) mount(App, { target });
