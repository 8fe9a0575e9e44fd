"""How the page looks and what it does: its style sheet and its script."""

STYLE = """
:root {
  color-scheme: light dark;
  --bg: #f5f6f8; --card: #fff; --ink: #18202b; --muted: #586474; --line: #e0e4ea;
  --grid: #e6e9ee; --soft: #f0f2f5; --accent: #0067a5; --bad: #c44e00;
  --hue0: #0072b2; --hue1: #cc7f00; --hue2: #00906a; --hue3: #b2548c; --hue4: #2b93cb;
  --hue5: #6d7682; --hue6: #8a7a00; --hue7: #7f3c8d; --hue8: #b8442e; --hue9: #4d7c0f;
  --hue10: #8c6d31; --hue11: #33508f; --hue12: #c2387a; --hue13: #16161d; --heat: 70%;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --bg: #0f1318; --card: #171d25; --ink: #e7ebf1; --muted: #9caabb; --line: #2a333f;
    --grid: #2a333f; --soft: #1f2731; --accent: #6cbcf0; --bad: #ff8a4c;
    --hue0: #4ea8e6; --hue1: #f0a92e; --hue2: #2fc29a; --hue3: #df93c0; --hue4: #8fd0f5;
    --hue5: #9caabb; --hue6: #e3d44f; --hue7: #c78fd4; --hue8: #f08a74; --hue9: #a3d15c;
    --hue10: #cfae72; --hue11: #93aef2; --hue12: #f78cbb; --hue13: #f2f2f5; --heat: 45%;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 28px clamp(12px, 3vw, 40px) 48px; }
h1 { font-size: clamp(1.6rem, 1.1rem + 2.2vw, 2.5rem); line-height: 1.15; margin: 0 0 .5rem;
  letter-spacing: -.02em; overflow-wrap: anywhere; text-wrap: balance; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 .3rem; letter-spacing: -.01em; }
h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 .7rem; max-width: 88ch; }
.muted, .eyebrow, figcaption { color: var(--muted); }
.eyebrow { font-size: .85rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.lead { font-size: 1.08rem; overflow-wrap: anywhere; }
section, header { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: clamp(16px, 2.4vw, 28px); margin: 0 0 18px; min-width: 0; }
.hero { display: grid; gap: 24px clamp(20px, 4vw, 56px); grid-template-columns: minmax(0, 1fr); }
@media (min-width: 860px) {
  .hero { grid-template-columns: minmax(0, 1fr) minmax(0, auto); }
  .hero > figure { max-width: 460px; }
}
.hero > * { min-width: 0; }
figure { margin: 0; }
.hero > figure { display: flex; flex-direction: column; align-items: center;
  justify-content: center; background: var(--soft); border-radius: 12px; padding: 22px; }
figcaption { font-size: .85rem; margin-top: .8rem; text-align: center; }
figure svg, .cell svg { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.tiles { display: flex; flex-wrap: wrap; margin: 1.2rem 0; border-radius: 12px; overflow: hidden;
  border: 1px solid var(--line); }
.tiles div { flex: 1 1 auto; min-width: 112px; padding: 12px 14px;
  box-shadow: 0 0 0 .5px var(--line); }
.tiles dt { font-size: .8rem; color: var(--muted); }
.tiles dd { margin: 0; font-size: 1.2rem; font-weight: 650; line-height: 1.3; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.tiles dd small { font-size: .8rem; font-weight: 400; color: var(--muted); }
.tiles .best dd { color: var(--accent); }
code, .code { font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; word-break: break-word; }
.copy code { max-height: 7.5em; overflow: auto; }
.copy { display: grid; grid-template-columns: 5.6rem minmax(0, 1fr) auto; gap: 4px 12px;
  align-items: center; padding: 6px 6px 6px 12px; background: var(--soft); border-radius: 8px;
  margin: 0 0 6px; min-height: 42px; }
.copy > span { font-size: .8rem; color: var(--muted); }
@media (max-width: 520px) {
  .copy { grid-template-columns: minmax(0, 1fr) auto; }
  .copy > span { grid-column: 1 / -1; }
}
button { font: inherit; font-size: .82rem; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 7px; padding: 4px 10px; cursor: pointer;
  min-height: 30px; }
button:hover { border-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.controls { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: .8rem 0 .6rem; }
.controls button { border-radius: 999px; display: inline-flex; align-items: center; gap: 7px; }
.controls button[aria-pressed=false] { color: var(--muted); text-decoration: line-through; }
.controls button[aria-pressed=false] .dot { opacity: .25; }
.controls label { display: inline-flex; gap: 6px; align-items: center; font-size: .85rem;
  color: var(--muted); margin-left: auto; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; flex: none;
  background: var(--dot); }
.cross { color: var(--bad); font-weight: 700; }
.chart { width: 100%; min-height: 40px; overflow: hidden; }
.chart .vega-embed, .chart > * { width: 100%; display: block; }
.chart svg { display: block; }
.small { display: grid; gap: 22px 28px; margin-top: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr)); }
.small figure { min-width: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; padding: 0; margin: .4rem 0 1rem;
  list-style: none; font-size: .85rem; color: var(--muted); }
.legend li { display: inline-flex; align-items: center; gap: 7px; overflow-wrap: anywhere; }
.swatch { width: 14px; height: 14px; border-radius: 4px; flex: none; display: block; }
.legend small { font-size: .95em; }
.note { font-size: .85rem; color: var(--muted); margin: .15rem 0 .5rem; }
.pair { display: grid; gap: 22px 32px; margin: .6rem 0 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); }
.pair > * { min-width: 0; }
section > h3, section > div > h3 { margin-top: 1.2rem; }
.groups { display: grid; gap: 26px 32px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--group)), 1fr)); }
.groups > * { min-width: 0; display: flex; flex-direction: column; }
.groups h3 { margin-bottom: .4rem; }
.groups .gallery { flex: 1; gap: 12px; }
.groups .cell { padding: 12px 10px; }
.groups .head { gap: 6px; font-size: .9rem; }
.groups .head button { padding: 2px 7px; }
.ramp { display: inline-block; width: 120px; height: 10px; border-radius: 5px; margin: 0 8px; }
.heatmap { table-layout: fixed; border-collapse: separate; border-spacing: 2px; }
.heatmap :is(th, td) { border: 0; padding: 6px 4px; text-align: center; font-size: .82rem; }
.heatmap tbody th { text-align: left; white-space: nowrap; font-weight: 500; }
.heat { border-radius: 5px;
  background: color-mix(in srgb, var(--accent) calc(var(--share) * var(--heat)), var(--soft)); }
.gallery { display: grid; gap: 14px; padding: 0; margin: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--wide)), 1fr)); }
.cell { border: 1px solid var(--line); border-radius: 12px; padding: 14px; display: flex;
  flex-direction: column; gap: 12px; min-width: 0; break-inside: avoid; }
.cell .picture { flex: 1; display: flex; align-items: center; justify-content: center;
  min-width: 0; }
.cell .head { display: flex; align-items: center; gap: 10px; font-variant-numeric: tabular-nums; }
.cell .foot { font-size: .82rem; color: var(--muted); border-top: 1px solid var(--line);
  padding-top: 10px; overflow-wrap: anywhere; }
.rank { color: var(--muted); font-size: .9rem; }
.value { font-size: 1.15rem; font-weight: 650; flex: 1; }
.what { font-weight: 650; }
.trace .rank, .bars span { white-space: nowrap; }
.trace { margin-top: 1rem; }
.trace .cell { gap: 8px; }
.trace .picture { align-items: flex-start; flex: none; }
.trace .note { margin: 0; }
.trace .new { color: var(--accent); }
.trace .new path { stroke-width: 2.4; }
.defs { position: absolute; }
.sum { margin: auto 0 0; font-size: .85rem; color: var(--muted); border-top: 1px solid var(--line);
  padding-top: 8px; font-variant-numeric: tabular-nums; }
.sum b { color: var(--ink); }
.bars, .chips { list-style: none; padding: 0; margin: 0; font-size: .82rem;
  font-variant-numeric: tabular-nums; }
.bars li { display: grid; grid-template-columns: 6.6rem minmax(0, 1fr) 2.8rem; gap: 6px;
  align-items: center; padding: 1px 4px; border: 1.5px solid transparent; border-radius: 6px; }
.bars .n { text-align: right; }
.bar { background: var(--soft); border-radius: 3px; height: 10px; display: block; }
.bar i { display: block; height: 100%; border-radius: 3px; }
.bars, .mixture { max-width: 460px; }
.chips { display: flex; flex-wrap: wrap; gap: 4px; }
.chip { border: 1.5px solid transparent; border-radius: 6px; padding: 0 6px;
  background: color-mix(in srgb, var(--accent) calc(var(--share) * 45%), var(--soft)); }
.bars .drawn, .chip.drawn { border-color: var(--ink); font-weight: 600; }
.chip b { font-weight: 500; }
.mixture { display: flex; gap: 1px; height: 8px; border-radius: 4px; overflow: hidden; }
.mixture i { background: var(--hue3); flex-basis: 0; min-width: 1px; }
.mixture i:nth-child(even) { opacity: .55; }
.grid { display: grid; gap: clamp(2px, .5vw, 6px); list-style: none; padding: 0; margin: 0;
  grid-template-columns: repeat(var(--side), minmax(0, 1fr)); max-width: 860px; }
.grid li { position: relative; display: flex; align-items: center; justify-content: center;
  min-width: 0; padding: clamp(2px, .6vw, 8px); border: 1px solid var(--line); border-radius: 6px;
  border-bottom: clamp(3px, .6vw, 6px) solid var(--dot); break-inside: avoid; }
.grid svg { max-width: 100%; height: auto; max-height: 150px; display: block; }
.grid .invalid { border-style: dashed; }
.grid .invalid svg { opacity: .45; }
.grid .cross { position: absolute; top: 0; right: 4px; font-style: normal; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.scroll { overflow-x: auto; }
.scroll + .copy { margin-top: 16px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 650; padding: 0 0 .4rem; }
th, td { text-align: left; padding: 8px 14px 8px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--muted); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
tbody tr:last-child > * { border-bottom: 0; }
td.n, th.n { text-align: right; overflow-wrap: normal; }
tbody th { font-weight: 600; }
@media (min-width: 641px), print { .n + :is(td, th):not(.n) { padding-left: 22px; } }
@media (max-width: 520px) {
  main { padding: 10px 8px 32px; }
  section, header { padding: 14px 12px; }
  .cell { padding: 12px 8px; }
  .hero > figure { padding: 16px 6px; }
}
@media (max-width: 640px) {
  table.stack thead { display: none; }
  table.stack tr { display: block; padding: 10px 0; border-bottom: 1px solid var(--line); }
  table.stack tr:last-child { border-bottom: 0; }
  table.stack td, table.stack th { display: flex; justify-content: space-between; gap: 16px;
    border: 0; padding: 3px 0; text-align: right; }
  table.stack :is(td, th)[data-label]::before { content: attr(data-label);
    color: var(--muted); font-weight: 400; text-align: left; }
}
details > summary { cursor: pointer; font-weight: 650; font-size: 1.2rem; }
details .facts { margin-top: 1rem; }
.facts { display: grid; gap: 24px 48px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); align-items: start; }
.facts th { font-weight: 400; color: var(--muted); width: 46%; }
.reason { margin: 0; padding: 10px 0; border-bottom: 1px solid var(--line);
  display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 2px 14px; }
.reason:last-child { border: 0; }
.reason b { min-width: 3ch; text-align: right; color: var(--bad);
  font-variant-numeric: tabular-nums; }
.reason span { grid-column: 2; font-size: .85rem; color: var(--muted); overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: .85rem; padding: 4px 4px 0; }
#vg-tooltip-element { background: var(--card) !important; color: var(--ink) !important;
  border: 1px solid var(--line) !important; border-radius: 8px; padding: 8px 10px;
  max-width: min(420px, 90vw); font: 13px/1.45 system-ui, sans-serif; position: fixed;
  z-index: 9; pointer-events: none; visibility: hidden;
  box-shadow: 0 6px 20px rgb(0 0 0 / 18%); }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element td { border: 0; padding: 1px 0; overflow-wrap: anywhere; max-width: none; }
#vg-tooltip-element td.key { color: var(--muted) !important; padding-right: 10px;
  white-space: nowrap; overflow-wrap: normal; text-align: left; max-width: none; }
@media print {
  body { background: #fff; font-size: 11pt; }
  main { max-width: none; padding: 0; }
  section, header { border: 0; padding: 0 0 14pt; margin: 0; }
  button, .controls label { display: none; }
  .controls button { display: inline-flex; border: 0; padding: 0 8pt 0 0; }
  .chart svg { max-width: 100%; height: auto; }
  .hero > figure, .copy, rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .small figure, .pair figure, tr, .reason { break-inside: avoid; }
  .heat, .chip, .bar i, .mixture i, .ramp { print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
}
"""

SCRIPT = """
"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const options = {
    mode: "vega-lite", actions: false, renderer: "svg", ast: true,
    tooltip: { disableDefaultStyle: true },
  };
  for (const box of document.querySelectorAll("[data-chart]")) {
    const spec = specs[box.dataset.chart];
    vegaEmbed(box, spec, options).then(({ view }) => {
      const controls = document.querySelector(`[data-controls="${box.dataset.chart}"]`);
      if (!controls) return;
      const toggles = [...controls.querySelectorAll("button")];
      const hidden = (b) => b.getAttribute("aria-pressed") === "false";
      for (const button of toggles) {
        button.addEventListener("click", () => {
          button.setAttribute("aria-pressed", String(hidden(button)));
          const names = toggles.filter(hidden).map((b) => b.dataset.origin);
          view.signal("hidden", names).runAsync();
        });
      }
      const full = controls.querySelector("input");
      full?.addEventListener("change", () => view.signal("full", full.checked).runAsync());
    }).catch((error) => { box.textContent = `This chart could not be drawn: ${error.message}`; });
  }
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const label = button.textContent;
      await copy(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = label; }, 1200);
    });
  }
})();
"""
