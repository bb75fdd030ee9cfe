// A bar for each value, as long as its share of the range.
export default {
  template: `
    <div class="bars" tabindex="0" role="region" :aria-label="label">
      <div v-for="item in items" class="bar-row">
        <span class="name">{{ item.name }}</span>
        <span class="track" aria-hidden="true"><span :style="{ width: item.share * 100 + '%', background: item.cell.colour }"></span></span>
        <span class="value" :style="{ color: ink(item.cell.colour) }">{{ text(item.cell) }}</span>
      </div>
    </div>`,
  props: { items: { type: Array, default: () => [] }, label: String },
  methods: {
    ink: (colour) => window.rectbotInk(colour),
    text: (cell) => cell.text ?? window.rectbotFormat(cell.value, cell.unit, cell.decimals),
  },
};
