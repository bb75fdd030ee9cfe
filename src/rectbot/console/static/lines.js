// Lines with a time each, the newest first: a log, or the event timeline. Text stays text; the server keeps no copy.
const AROUND_MS = 5 * 60 * 1000;
// In a live tail so many are drawn; more only where somebody has asked for older ones.
const PAGE = 500;
const fixed = (lines) => lines.map(Object.freeze); // lines do not change, and Vue need not watch each

export default {
  template: `
    <div class="lines" role="log" :aria-label="label" tabindex="0" @keydown="walk">
      <p v-if="!shown.length" class="hint">{{ empty }}</p>
      <details v-for="line in shown" :key="line.key" v-memo="[open[line.key], line.key === mark, words]" class="line" :class="[line.tone, { marked: line.key === mark }]"
               @toggle="toggled(line, $event)">
        <summary tabindex="-1">
          <time :title="full(line.time)">{{ clock(line.time) }}</time>
          <span class="tag">{{ line.tag }}</span>
          <span class="text">{{ line.text }}</span>
        </summary>
        <template v-if="open[line.key]">
          <div v-if="line.stream && words" class="line-acts">
            <button type="button" @click="copy(line)">{{ words.copy }}</button>
            <a :href="link(line)">{{ words.link }}</a>
            <a :href="context(line)">{{ words.context }}</a>
          </div>
          <dl v-if="line.more">
            <template v-for="[name, value] in line.more"><dt>{{ name }}</dt><dd>{{ value }}</dd></template>
          </dl>
          <details v-if="line.raw && words" class="raw"><summary>{{ words.json }}</summary><pre>{{ pretty(line.raw) }}</pre></details>
        </template>
      </details>
    </div>`,
  props: {
    lines: Array,
    empty: String,
    label: String,
    max: Number,
    mark: { type: String, default: "" },
    search: { type: Number, default: 0 },
    words: { type: Object, default: null },
  },
  data() {
    return { later: [], earlier: [], open: {}, number: this.search, most: PAGE };
  },
  computed: {
    shown() {
      return [...this.later, ...(this.lines ?? []), ...this.earlier].slice(0, Math.min(this.most, this.max));
    },
  },
  watch: {
    search(number) {
      this.begin(number);
    },
  },
  methods: {
    clock: (ms) => window.rectbotTime(ms, { short: true, ms: true }),
    full: (ms) => window.rectbotTime(ms, { ms: true, zone: true }),
    // Lines may come before the properties of their search do.
    begin(number) {
      if (number === this.number) return;
      this.number = number;
      this.later = [];
      this.earlier = [];
      this.open = {};
      this.most = PAGE;
    },
    add(lines, number) {
      this.begin(number);
      const known = new Set(this.later.slice(0, 600).map((line) => line.key));
      this.later = [...fixed(lines.filter((line) => !known.has(line.key))), ...this.later].slice(0, this.max);
    },
    append(lines, number) {
      this.begin(number);
      const known = new Set([...this.later, ...this.earlier].map((line) => line.key));
      this.earlier = [...this.earlier, ...fixed(lines.filter((line) => !known.has(line.key)))];
      this.most = Math.max(PAGE, this.later.length + this.earlier.length);
      if (this.mark) this.$nextTick(() => this.$el.querySelector(".marked")?.scrollIntoView({ block: "center" }));
    },
    toggled(line, event) {
      if (event.target.classList.contains("line")) this.open[line.key] = event.target.open;
    },
    // Lines are one stop of the Tab key; arrows go from one to the next.
    walk(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      const all = [...this.$el.querySelectorAll(":scope > .line > summary")];
      const next = all[Math.max(0, all.indexOf(document.activeElement) + step)] ?? all[all.length - 1];
      next?.focus();
      event.preventDefault();
    },
    link(line) {
      return this.address(line, new URLSearchParams(location.search));
    },
    context(line) {
      return this.address(line, new URLSearchParams({ query: line.stream }));
    },
    address(line, query) {
      query.set("from", String(line.time - AROUND_MS));
      query.set("to", String(line.time + AROUND_MS));
      query.set("line", line.key);
      return `/logs?${query}`;
    },
    pretty(text) {
      try {
        return JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        return text;
      }
    },
    plain: (line) => `${new Date(line.time).toISOString()} ${line.tag} ${line.raw ?? line.text}`,
    async copy(line) {
      const text = this.plain(line);
      if (navigator.clipboard) {
        await navigator.clipboard.writeText(text);
        return;
      }
      const field = Object.assign(document.createElement("textarea"), { value: text }); // without TLS from elsewhere
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    },
    download(name) {
      const text = this.shown.map((line) => this.plain(line)).join("\n");
      const url = URL.createObjectURL(new Blob([text, "\n"], { type: "text/plain" }));
      const link = Object.assign(document.createElement("a"), { href: url, download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    },
  },
};
