# Stand-ins for the upstream images, from Debian's packages of the same programs, because a test needs no image registry.
# Each keeps what the compose file relies on: the program's name and place, its user, its writable folder.
FROM rectbot-test/debian AS packages
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    curl libnginx-mod-stream nginx-light prometheus prometheus-alertmanager prometheus-pushgateway \
    python-is-python3 python3-venv valkey-server valkey-tools wget \
 && rm -rf /var/lib/apt/lists/*

FROM packages AS python
RUN ln -s /usr/bin/python3 /usr/local/bin/python
CMD ["python"]

FROM packages AS valkey
RUN install -d -o 999 -g 999 /data
WORKDIR /data
CMD ["valkey-server"]

FROM packages AS prometheus
RUN install -d -o 65534 -g 65534 /prometheus
USER 65534
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]

FROM packages AS alertmanager
RUN install -d -o 65534 -g 65534 /alertmanager
USER 65534
WORKDIR /alertmanager
ENTRYPOINT ["prometheus-alertmanager"]

FROM packages AS pushgateway
RUN install -d -o 65534 -g 65534 /pushgateway
USER 65534
WORKDIR /pushgateway
ENTRYPOINT ["prometheus-pushgateway"]

# Upstream's nginx has the stream module built in, and its temporary files under /var/cache/nginx.
FROM packages AS nginx
RUN rm -rf /var/lib/nginx /var/log/nginx/* \
 && ln -s /var/cache/nginx /var/lib/nginx \
 && ln -s /dev/stderr /var/log/nginx/error.log \
 && rm -rf /etc/nginx/sites-enabled /etc/nginx/modules-enabled
CMD ["nginx", "-g", "daemon off; load_module /usr/lib/nginx/modules/ngx_stream_module.so;"]
