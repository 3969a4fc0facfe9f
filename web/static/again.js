// Loads the page again while something on it still runs.
"use strict";
setTimeout(() => location.reload(), 1500);
