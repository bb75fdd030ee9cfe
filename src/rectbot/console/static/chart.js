// A chart: ECharts with times and numbers as everywhere, a shared crosshair, and dragging to zoom.
import { echarts } from "nicegui-echart";

const CROSSHAIR = "rectbot-crosshair";
const write = (value, format) => window.rectbotFormat(value, format?.unit, format?.decimals);
const told = (cell) => cell.text ?? write(cell.value, cell);
// Letters on a canvas know no variables of the style: here they get the theme's colours. See SOFT in panels/charts.py.
const SOFT = "#7c8696";
const role = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
const parts = (colour) => /^#[0-9a-f]{6}$/i.test(colour) && [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
const mixed = (colour, share, other) => {
  const [one, two] = [parts(colour), parts(other)];
  if (!one || !two) return other;
  return `#${one.map((value, place) => Math.round(value * share + two[place] * (1 - share)).toString(16).padStart(2, "0")).join("")}`;
};
const row = (shade, name, value) =>
  `<div class="tip"><i style="background:${window.rectbotEscape(shade)}"></i><span>${window.rectbotEscape(name)}</span>` +
  `<b>${window.rectbotEscape(value)}</b></div>`;

// A bar of a state timeline, from one moment to another.
function bar(params, api) {
  const from = api.coord([api.value(1), api.value(0)]);
  const to = api.coord([api.value(2), api.value(0)]);
  const height = api.size([0, 1])[1] * 0.72;
  const area = params.coordSys;
  const left = Math.max(from[0], area.x);
  const right = Math.min(Math.max(to[0], from[0] + 1), area.x + area.width);
  if (right <= left) return undefined;
  const text = api.value(4) && right - left > 44 ? api.ordinalRawValue(3) : "";
  return {
    type: "rect",
    shape: { x: left, y: from[1] - height / 2, width: right - left, height, r: 2 },
    style: { fill: api.visual("color") },
    textContent: { type: "text", style: { text, fill: "#fff", fontSize: 11, stroke: "#000c", lineWidth: 2 } },
    textConfig: { position: "inside" },
  };
}

// The functions that data cannot hold.
function finished(options) {
  const found = { ...options };
  for (const axis of Array.isArray(found.yAxis) ? found.yAxis : []) {
    axis.axisLabel = { ...axis.axisLabel, formatter: (value) => write(value, axis.format) };
    const { softMin, softMax, centred } = axis;
    const least = (value) => Math.min(value.min, softMin ?? value.min);
    const most = (value) => Math.max(value.max, softMax ?? value.max);
    if (centred) {
      axis.min = (value) => -Math.max(Math.abs(least(value)), Math.abs(most(value)));
      axis.max = (value) => Math.max(Math.abs(least(value)), Math.abs(most(value)));
    } else {
      if (axis.min === null && softMin !== null && softMin !== undefined) axis.min = least;
      if (axis.max === null && softMax !== null && softMax !== undefined) axis.max = most;
    }
  }
  for (const series of found.series ?? []) {
    if (series.bars) series.renderItem = bar;
    if (series.type === "gauge" && series.data?.[0]) {
      const color = mixed(series.detail.color, 0.6, role("text"));
      series.detail = { ...series.detail, color, formatter: () => told(series.data[0].told) };
    }
    if (series.type === "pie") series.label = { ...series.label, formatter: (item) => `${item.name}: ${told(item.data.told)}` };
  }
  const values = found.legend?.values;
  if (values && Object.keys(values).length) {
    found.legend = {
      ...found.legend,
      formatter: (name) => [name, ...(values[name] ?? []).map((each) => `${each.title}: ${write(each.value, each)}`)].join("  "),
    };
  }
  if (found.tooltip) found.tooltip = { ...found.tooltip, formatter: tip(found) };
  return found;
}

function tip(options) {
  if (options.tooltip.states) {
    return ({ value, color }) =>
      row(color, value[5], value[3]) +
      `<div>${window.rectbotTime(value[1])} - ${window.rectbotTime(value[2], { zone: true })}</div>`;
  }
  if (options.tooltip.trigger === "item") return ({ color, name, data }) => row(color, name, told(data.told));
  return (items) => {
    const shown = items
      .filter((item) => item.value?.[1] !== null && item.value?.[1] !== undefined && !options.series[item.seriesIndex]?.hidden)
      .sort((one, other) => other.value[1] - one.value[1]);
    const rows = shown.slice(0, 20).map((item) => {
      const format = options.series[item.seriesIndex].format;
      return row(item.color, item.seriesName, write(item.value[1], format));
    });
    const more = shown.length > 20 ? `<div>+ ${shown.length - 20}</div>` : "";
    return `<div>${window.rectbotTime(items[0].axisValue, { zone: true })}</div>${rows.join("")}${more}`;
  };
}

// The chart's data as a table: the names of its columns, and rows of text, the newest first.
const MOST_ROWS = 500;
const clock = (ms) => window.rectbotTime(ms, { short: true });

function tabled(options, words) {
  const shown = (options?.series ?? []).filter((series) => series.data?.length && (series.bars || !series.hidden));
  if (options?.tooltip?.states) {
    const bars = shown.flatMap((series) => series.data).sort((one, other) => other[1] - one[1]);
    return [[words.name, words.from, words.to, words.state], bars.map((bar) => [bar[5], clock(bar[1]), clock(bar[2]), bar[3]])];
  }
  if (options?.xAxis?.type !== "time") {
    const values = shown.flatMap((series) => series.data);
    return [[words.name, words.value], values.map((item) => [item.name, told(item.told)])];
  }
  const moments = new Map();
  shown.forEach((series, place) => {
    for (const [moment, value] of series.data.map((point) => point.value ?? point)) {
      if (value === null || value === undefined) continue;
      if (!moments.has(moment)) moments.set(moment, Array(shown.length).fill(""));
      moments.get(moment)[place] = write(value, series.format);
    }
  });
  const rows = [...moments].sort((one, other) => other[0] - one[0]).map(([moment, values]) => [clock(moment), ...values]);
  return [[words.time, ...shown.map((series) => series.name)], rows];
}

export default {
  template: `
    <div class="chart-box">
      <div ref="canvas" class="chart" role="img" :aria-label="label" v-show="!table"></div>
      <div v-if="table" class="grid chart-table" tabindex="0" role="region" :aria-label="label">
        <table>
          <thead><tr><th v-for="title in rows[0]" scope="col">{{ title }}</th></tr></thead>
          <tbody><tr v-for="row in rows[1].slice(0, ${MOST_ROWS})"><td v-for="text in row">{{ text }}</td></tr></tbody>
        </table>
      </div>
      <i v-show="cross !== null" class="crosshair" :style="{ left: cross + 'px' }"></i>
      <i v-if="drag" class="brush" :style="{ left: Math.min(drag[0], drag[1]) + 'px', width: Math.abs(drag[1] - drag[0]) + 'px' }"></i>
    </div>`,
  props: {
    options: Object,
    label: String,
    table: { type: Boolean, default: false }, // in place of the picture
    words: { type: Object, default: () => ({}) },
  },
  data: () => ({ cross: null, drag: null }),
  computed: {
    rows() {
      return tabled(this.options, this.words);
    },
  },
  mounted() {
    this.chart = echarts.init(this.$refs.canvas, null, { renderer: "canvas" });
    this.resize = new ResizeObserver(() => this.chart.resize());
    this.resize.observe(this.$refs.canvas);
    const zr = this.chart.getZr();
    zr.on("mousedown", (event) => this.begin(event));
    zr.on("mousemove", (event) => this.move(event));
    zr.on("mouseup", () => this.end());
    zr.on("globalout", () => this.tell(null));
    zr.on("dblclick", (event) => this.inside(event) && this.$emit("zoomout"));
    this.listen = ({ detail }) => this.follow(detail);
    this.drop = () => (this.drag = null);
    window.addEventListener(CROSSHAIR, this.listen);
    window.addEventListener("mouseup", this.drop);
    this.theme = new MutationObserver(() => this.soft !== role("soft") && this.draw());
    this.theme.observe(document.body, { attributeFilter: ["class"] });
    this.draw();
  },
  beforeUnmount() {
    window.removeEventListener(CROSSHAIR, this.listen);
    window.removeEventListener("mouseup", this.drop);
    this.resize.disconnect();
    this.theme.disconnect();
    this.chart.dispose();
  },
  watch: {
    options() {
      this.draw();
    },
  },
  methods: {
    draw() {
      if (!this.options?.series) return;
      this.timed = this.options.xAxis?.type === "time";
      // What is chosen in the legend stays; all else is replaced.
      const options = this.raw();
      this.$refs.canvas.dataset.ink = this.soft;
      this.chart.setOption(finished(options), { replaceMerge: ["series", "xAxis", "yAxis"] });
    },
    raw() {
      this.soft = role("soft");
      return JSON.parse(JSON.stringify(this.options).replaceAll(SOFT, this.soft));
    },
    inside(event) {
      return this.timed && this.chart.containPixel("grid", [event.offsetX, event.offsetY]);
    },
    moment(x) {
      return this.chart.convertFromPixel({ xAxisIndex: 0 }, x);
    },
    begin(event) {
      const pointer = event.event?.pointerType ?? "mouse"; // a finger scrolls
      if (this.inside(event) && pointer === "mouse" && !event.event?.zrByTouch) this.drag = [event.offsetX, event.offsetX];
    },
    move(event) {
      if (this.drag) this.drag = [this.drag[0], event.offsetX];
      this.tell(this.inside(event) ? this.moment(event.offsetX) : null);
    },
    end() {
      const drag = this.drag;
      this.drag = null;
      if (!drag || Math.abs(drag[1] - drag[0]) < 6) return;
      const moments = drag.map((x) => Math.round(this.moment(x))).sort((one, other) => one - other);
      this.$emit("zoom", { from: moments[0], to: moments[1] });
    },
    tell(moment) {
      window.dispatchEvent(new CustomEvent(CROSSHAIR, { detail: { moment, by: this } }));
    },
    follow({ moment, by }) {
      if (by === this || moment === null || !this.timed) {
        this.cross = null;
        return;
      }
      const x = this.chart.convertToPixel({ xAxisIndex: 0 }, moment);
      this.cross = this.chart.containPixel("grid", [x, this.$refs.canvas.offsetHeight / 2]) ? x : null;
    },
  },
};
