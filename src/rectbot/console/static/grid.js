// A table whose cells have units, colours and links.
export default {
  template: `
    <div class="grid" tabindex="0" role="region" :aria-label="label">
      <table>
        <thead><tr><th v-for="column in columns" scope="col" :class="column.align">{{ column.title }}</th></tr></thead>
        <tbody>
          <tr v-for="row in rows">
            <td v-for="(cell, index) in row" :class="columns[index].align" :style="{ color: cell.colour }">
              <a v-if="cell.link" :href="cell.link">{{ text(cell) }}</a>
              <template v-else>{{ text(cell) }}</template>
            </td>
          </tr>
        </tbody>
      </table>
    </div>`,
  props: { columns: { type: Array, default: () => [] }, rows: { type: Array, default: () => [] }, label: String },
  methods: {
    text: (cell) => cell.text ?? window.rectbotFormat(cell.value, cell.unit, cell.decimals),
  },
};
