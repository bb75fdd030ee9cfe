// A query with the names that may come next; Tab or Enter takes one over, Escape puts them away.
export default {
  template: `
    <div class="completion">
      <label><span class="hint">{{ label }}</span>
        <textarea ref="field" v-model="text" rows="2" spellcheck="false"
                  aria-autocomplete="list" :aria-controls="open.length ? 'completion-names' : undefined" :aria-label="label"
                  @input="find" @keydown="key" @blur="away"></textarea></label>
      <button type="button" class="ask" @click="ask">▶</button>
      <ul v-if="open.length" id="completion-names" role="listbox" :aria-label="label">
        <li v-for="(name, index) in open" role="option" :aria-selected="index === at" @mousedown.prevent="take(name)">{{ name }}</li>
      </ul>
    </div>`,
  props: { label: String, value: String, names: Array, look: Number },
  data() {
    return { text: this.value, open: [], at: 0 };
  },
  watch: {
    look() {
      this.text = this.value;
    },
  },
  methods: {
    word() {
      const end = this.$refs.field.selectionStart;
      return /[A-Za-z_:][\w:]*$/.exec(this.text.slice(0, end))?.[0] ?? "";
    },
    find() {
      const word = this.word().toLowerCase();
      if (word.length < 1) {
        this.open = [];
        return;
      }
      const starts = this.names.filter((name) => name.toLowerCase().startsWith(word));
      const holds = this.names.filter((name) => !starts.includes(name) && name.toLowerCase().includes(word));
      this.open = [...starts, ...holds].slice(0, 12);
      if (this.open.length === 1 && this.open[0] === this.word()) this.open = [];
      this.at = 0;
    },
    take(name) {
      const end = this.$refs.field.selectionStart;
      const start = end - this.word().length;
      this.text = this.text.slice(0, start) + name + this.text.slice(end);
      this.open = [];
      this.$nextTick(() => {
        this.$refs.field.focus();
        this.$refs.field.setSelectionRange(start + name.length, start + name.length);
      });
    },
    key(event) {
      const moves = { ArrowDown: 1, ArrowUp: -1 };
      if (this.open.length && moves[event.key]) {
        this.at = (this.at + moves[event.key] + this.open.length) % this.open.length;
      } else if (this.open.length && (event.key === "Tab" || event.key === "Enter")) {
        this.take(this.open[this.at]);
      } else if (event.key === "Escape" && this.open.length) {
        this.open = [];
      } else if (event.key === "Enter" && !event.shiftKey) {
        this.ask();
      } else {
        return;
      }
      event.preventDefault();
    },
    away() {
      this.open = [];
    },
    ask() {
      this.open = [];
      this.$emit("ask", this.text);
    },
  },
};
