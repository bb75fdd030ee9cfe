// Text with moments in it, in the browser's zone.
export default {
  template: `
    <span class="sentence"><template v-for="(part, index) in parts"
      ><time v-if="index % 2" :datetime="iso(part)" :title="zone(part)">{{ moment(part) }}</time
      ><template v-else>{{ part }}</template></template></span>`,
  props: { words: { type: String, default: "" } },
  computed: {
    parts() {
      return window.rectbotParts(this.words);
    },
  },
  methods: {
    moment: (seconds) => window.rectbotTime(seconds * 1000, { short: true }),
    zone: (seconds) => `${window.rectbotTime(seconds * 1000, { zone: true })} ${window.rectbotZone()}`,
    iso: (seconds) => new Date(Number(seconds) * 1000).toISOString(),
  },
};
