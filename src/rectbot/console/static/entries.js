// What happened, a sentence each, with what was logged then. The moments in them are in the browser's zone.
export default {
  template: `
    <ul class="moves entries">
      <li v-for="entry in entries" :class="entry.tone">
        <template v-for="(part, index) in parts(entry.words)"
          ><time v-if="index % 2" :datetime="iso(part)" :title="zone(part)">{{ moment(part) }}</time
          ><template v-else>{{ part }}</template></template>
        <a v-if="entry.log" :href="entry.log" :aria-label="label + ': ' + moment(parts(entry.words)[1])">{{ label }}</a>
      </li>
    </ul>`,
  props: { entries: { type: Array, default: () => [] }, label: String },
  methods: {
    parts: (words) => window.rectbotParts(words),
    moment: (seconds) => window.rectbotTime(seconds * 1000),
    zone: (seconds) => `${window.rectbotTime(seconds * 1000, { zone: true })} ${window.rectbotZone()}`,
    iso: (seconds) => new Date(Number(seconds) * 1000).toISOString(),
  },
};
