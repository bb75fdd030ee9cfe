// A square for each day of a year, month by month. One stop of the Tab key; arrows go from day to day.
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };

export default {
  template: `
    <div class="year" @keydown="walk">
      <p class="unseen">{{ help }}</p>
      <ul class="legend"><li v-for="(text, tone) in words"><i class="square" :class="tone"></i>{{ text }}</li></ul>
      <div class="months">
        <div v-for="month in months" :key="month.key" class="month" role="group" :aria-label="month.key">
          <a :href="address(month.key)" :aria-current="month.key === chosen" class="month-name"
             @click="choose(month.key, $event)">{{ month.key }} <span>{{ month.share }}</span></a>
          <div class="squares">
            <i v-for="number in month.lead" :key="number"></i>
            <a v-for="[key, tone, text] in month.days" :key="key" :href="address(key)" class="square" :class="tone"
               :title="text" :aria-label="text" :aria-current="key === chosen ? 'date' : null" :data-day="key"
               :tabindex="key === stop ? 0 : -1" @click="choose(key, $event)" @focus="stop = key"></a>
          </div>
        </div>
      </div>
    </div>`,
  props: {
    months: { type: Array, default: () => [] },
    chosen: { type: String, default: "" },
    words: { type: Object, default: () => ({}) },
    help: String,
  },
  data() {
    return { stop: this.entry() };
  },
  watch: {
    months() {
      if (!this.keys().includes(this.stop)) this.stop = this.entry();
    },
  },
  methods: {
    keys() {
      return (this.months ?? []).flatMap((month) => month.days.map(([key]) => key));
    },
    entry() {
      const keys = this.keys();
      return keys.find((key) => key.startsWith(this.chosen)) ?? keys[0];
    },
    address(key) {
      const query = new URLSearchParams(location.search);
      query.set("period", key);
      return `/history?${query}`;
    },
    choose(key, event) {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return; // a new tab or window
      event.preventDefault();
      this.$emit("choose", key);
    },
    walk(event) {
      const step = STEPS[event.key];
      if (!step || !event.target.dataset.day) return;
      const keys = this.keys();
      const next = keys[keys.indexOf(event.target.dataset.day) + step];
      this.$el.querySelector(`[data-day="${next}"]`)?.focus();
      event.preventDefault();
    },
  },
};
