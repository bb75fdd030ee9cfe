// One or several values in large letters.
export default {
  template: `
    <div class="stats" :class="{ many: items.length > 2 }">
      <div v-for="item in items" class="stat"
           :style="item.background ? { background: item.colour, color: '#fff' } : { color: item.colour }">
        <span v-if="item.name" :class="item.cell ? 'name' : 'value'">{{ item.name }}</span>
        <span v-if="item.cell" class="value">{{ text(item.cell) }}</span>
      </div>
    </div>`,
  props: { items: { type: Array, default: () => [] } },
  methods: {
    text: (cell) => cell.text ?? window.rectbotFormat(cell.value, cell.unit, cell.decimals),
  },
};
