// A table whose cells have units, colours, bars and links.
export default {
  template: `
    <div class="grid" tabindex="0" role="region" :aria-label="label">
      <table>
        <thead v-if="header"><tr><th v-for="column in columns" scope="col" :class="column.align">{{ column.title }}</th></tr></thead>
        <tbody>
          <tr v-for="row in rows">
            <td v-for="(cell, index) in row" :class="columns[index].align" :style="look(cell)" :title="hint(cell)">
              <span v-if="cell.share !== undefined" class="track" aria-hidden="true">
                <span :style="{ width: cell.share * 100 + '%', background: cell.colour }"></span></span>
              <a v-if="cell.link" :href="cell.link" :rel="cell.rel">{{ text(cell) }}</a>
              <template v-else>{{ text(cell) }}</template>
            </td>
          </tr>
        </tbody>
      </table>
    </div>`,
  props: {
    columns: { type: Array, default: () => [] },
    rows: { type: Array, default: () => [] },
    header: { type: Boolean, default: true },
    label: String,
  },
  methods: {
    text: (cell) =>
      cell.time !== undefined
        ? window.rectbotTime(cell.time)
        : (cell.text ?? window.rectbotFormat(cell.value, cell.unit, cell.decimals)),
    hint: (cell) => (cell.time !== undefined ? window.rectbotTime(cell.time, { zone: true }) : undefined),
    look: (cell) => (cell.filled
      ? { background: window.rectbotFill(cell.filled), color: "#fff" }
      : { color: window.rectbotInk(cell.colour) }),
  },
};
