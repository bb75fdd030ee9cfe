// A bar for each day: how much of it the bot was there. Each says in words what it shows.
export default {
  template: `
    <ol class="days" :aria-label="label">
      <li v-for="day in days" :class="day.tone" :title="text(day)"><span class="unseen">{{ text(day) }}</span></li>
    </ol>`,
  props: { days: { type: Array, default: () => [] }, label: String },
  methods: {
    text: (day) => `${window.rectbotTime(day.start)} - ${window.rectbotTime(day.end)}: ${day.words}`,
  },
};
