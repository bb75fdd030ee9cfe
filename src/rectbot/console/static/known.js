// A word that is true as of the server's last look. Without the server it is not known any more.
export default {
  template: `<div class="known" :class="lost ? 'unknown' : tone">{{ lost ? unknown : words }}</div>`,
  props: { words: String, tone: String, unknown: String },
  computed: {
    lost: () => window.rectbotLink.ref().value,
  },
};
