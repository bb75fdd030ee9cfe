// Lines with a time each, the newest first: a log, or the event timeline. Text stays text; the server keeps no copy.
const pad = (number, length = 2) => String(number).padStart(length, "0");

function clock(ms) {
  const then = new Date(ms);
  const time = `${pad(then.getHours())}:${pad(then.getMinutes())}:${pad(then.getSeconds())}.${pad(then.getMilliseconds(), 3)}`;
  const today = then.toDateString() === new Date().toDateString();
  return today ? time : `${then.getFullYear()}-${pad(then.getMonth() + 1)}-${pad(then.getDate())} ${time}`;
}

export default {
  template: `
    <div class="lines" role="log" :aria-label="label" tabindex="0">
      <p v-if="!shown.length" class="hint">{{ empty }}</p>
      <details v-for="line in shown" :key="line.key" class="line" :class="line.tone">
        <summary>
          <time>{{ clock(line.time) }}</time>
          <span class="tag">{{ line.tag }}</span>
          <span class="text">{{ line.text }}</span>
        </summary>
        <dl v-if="line.more">
          <template v-for="[name, value] in line.more"><dt>{{ name }}</dt><dd>{{ value }}</dd></template>
        </dl>
      </details>
    </div>`,
  props: { lines: Array, empty: String, label: String, max: Number },
  data() {
    return { later: [] };
  },
  computed: {
    shown() {
      return [...this.later, ...(this.lines ?? [])].slice(0, this.max);
    },
  },
  watch: {
    lines() {
      this.later = [];
    },
  },
  methods: {
    clock,
    add(lines) {
      this.later = [...lines, ...this.later].slice(0, this.max);
    },
  },
};
