"""Lay out the pages of results: one template, filled by page.py, with its style and its script in itself."""

# Figures have a white ground of their own, which stays white on a dark page. Wide tables scroll by themselves.
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
:root { color-scheme: light dark; --text: #1a1a1a; --ground: #fff; --line: #ddd; --rule: #ccc; --note: #555; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --ground: #161616; --line: #333; --rule: #444; --note: #aaa; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
body { color: var(--text); background: var(--ground); overflow-wrap: break-word; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--rule); }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .25rem .8rem; }
th, td { border-bottom: 1px solid var(--line); }
th, td { text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; background: #fff; } figure { margin: 1.2rem 0; } img[hidden] { display: none; }
details td, details td:first-child { text-align: right; }
details td[rowspan] { text-align: left; vertical-align: top; }
.controls { display: flex; gap: .8rem; align-items: center; } .controls input { flex: 1; max-width: 40rem; }
code { overflow-wrap: anywhere; }
.note { color: var(--note); font-size: .9rem; }
@media print {
  :root { --text: #000; --ground: #fff; --note: #333; }
  body { max-width: none; margin: 0; font-size: 11px; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } .controls, details { display: none; }
  .table { overflow: visible; } th, td { padding: .15rem .4rem; }
}
</style></head><body>
<h1>{{ title }}</h1>
{% for table in tables %}
<h2>{{ table.title }}</h2>
<div class="table"><table>
<tr>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table></div>
<p class="note">{{ table.note }}</p>
{% endfor %}
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% for note in section.notes %}<p class="note">{{ note }}</p>
{% endfor %}{% if section.command %}<p class="note">Not evaluated yet: <code>{{ section.command }}</code></p>
{% endif %}{% for figure in section.figures %}
<figure{% if figure.frames|length > 1 %} class="movie"{% endif %}>{% for frame in figure.frames %}
<img alt="{{ figure.name }}" src="data:image/png;base64,{{ frame }}"{% if not loop.first %} hidden{% endif %}>
{%- endfor %}{% if figure.frames|length > 1 %}
<div class="controls"><button type="button">play</button>
<input type="range" aria-label="time" min="0" max="{{ figure.frames|length - 1 }}" value="0"></div>{% endif %}
<figcaption class="note">{{ figure.caption }}</figcaption>{% if figure.series %}
<details class="note"><summary>Numbers</summary><div class="table"><table>
<tr><th>line</th><th>x</th><th>y</th></tr>
{% for line in figure.series %}{% for x, y in line.points %}<tr>{% if loop.first -%}
<td rowspan="{{ line.points|length }}">{{ line.name }}{% if line.y not in ("", line.name) %}, {{ line.y }}{% endif %}
 over {{ line.x }}
{%- if line.of > line.points|length %} ({{ line.points|length }} of {{ line.of }} points){% endif %}</td>
{%- endif %}<td>{{ x }}</td><td>{{ y }}</td></tr>
{% endfor %}{% endfor %}</table></div></details>{% endif %}</figure>{% endfor %}
{% endfor %}
<script>
for (const movie of document.querySelectorAll(".movie")) {
  const frames = movie.querySelectorAll("img"), slider = movie.querySelector("input");
  const button = movie.querySelector("button");
  let timer = null;
  const show = k => { slider.value = k; frames.forEach((frame, n) => { frame.hidden = n !== k; }); };
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "play"; };
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => {
    if (timer !== null) { stop(); return; }
    button.textContent = "stop";
    timer = setInterval(() => show((Number(slider.value) + 1) % frames.length), 300);
  });
}
</script>
</body></html>
"""
