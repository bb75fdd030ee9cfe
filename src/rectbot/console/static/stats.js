// One or several values in large letters, each with its course where there is one.
export default {
  template: `
    <div class="stats" :class="{ many: items.length > 2 }">
      <div v-for="item in items" class="stat"
           :style="look(item)">
        <svg v-if="item.course" class="course" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">
          <polyline :points="item.course" fill="none" stroke="currentColor" stroke-width="1" vector-effect="non-scaling-stroke" />
        </svg>
        <span v-if="item.name" :class="item.cell ? 'name' : 'value'">{{ item.name }}</span>
        <a v-if="item.cell && item.link" class="value" :href="item.link" :rel="item.rel">{{ text(item.cell) }}</a>
        <span v-else-if="item.cell" class="value">{{ text(item.cell) }}</span>
      </div>
    </div>`,
  props: { items: { type: Array, default: () => [] } },
  methods: {
    look: (item) =>
      item.background
        ? { background: window.rectbotFill(item.colour), color: "#fff" }
        : { color: window.rectbotInk(item.colour) },
    text: (cell) => cell.text ?? window.rectbotFormat(cell.value, cell.unit, cell.decimals),
  },
};
