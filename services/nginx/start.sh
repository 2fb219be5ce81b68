#!/bin/sh
# Writes the parts of nginx.conf that depend on .env and on a secret, then becomes Nginx.
set -eu
umask 077
mkdir -p /tmp/nginx

# The service counts bodies itself, and says more when one is too large: Nginx only stops what is far beyond.
echo "client_max_body_size $((ONSIGHT_MAX_BODY_BYTES + 65536));" >/tmp/nginx/image_body.conf
echo "client_max_body_size $((ONSIGHT_MAX_BATCH_BODY_BYTES + 65536));" >/tmp/nginx/batch_body.conf
cat >/tmp/nginx/limits.conf <<END
client_body_buffer_size 1m;
client_body_timeout ${ONSIGHT_RECEIVE_TIMEOUT_S}s;
proxy_read_timeout $((ONSIGHT_REQUEST_DEADLINE_S + 20))s;
limit_req_zone \$binary_remote_addr zone=requests:10m rate=${NGINX_REQUESTS_PER_S}r/s;
END

if [ "$NGINX_TLS" = on ]; then
    for file in tls.crt tls.key; do
        [ -r "/etc/onsight/tls/$file" ] || { echo "nginx: NGINX_TLS=on, but NGINX_TLS_DIR holds no readable $file" >&2; exit 1; }
    done
    cat >/tmp/nginx/listen.conf <<END
listen 8080 ssl;
ssl_certificate /etc/onsight/tls/tls.crt;
ssl_certificate_key /etc/onsight/tls/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
END
else
    echo "listen 8080;" >/tmp/nginx/listen.conf
fi

cat >/tmp/nginx/web_key.conf <<END
map \$http_authorization \$page_authorization {
    default \$http_authorization;
    "" "Bearer $(cat /run/secrets/web_api_key)";
}
END

exec nginx -e /dev/stderr -c /etc/onsight/nginx.conf -g "daemon off;"
