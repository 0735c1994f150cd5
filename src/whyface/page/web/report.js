// A report: read the data that the file carries, and show them.

import { mount } from "./view.js";

mount(document.getElementById("whyface"), JSON.parse(document.getElementById("whyface-data").textContent));
