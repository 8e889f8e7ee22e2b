/* sigv4.c — AWS Signature Version 4 for POST requests (AWS IAM user guide, "Create a signed AWS API request").
 * Signed are Host and the x-amz headers, which is what the service asks for. */
#define _POSIX_C_SOURCE 200809L /* gmtime_r */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "net.h"

#define DIGEST_SIZE 32

static void hex(const unsigned char *digest, char *out)
{
    for (int i = 0; i < DIGEST_SIZE; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static void hash(const char *text, char *hex_out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL);
    hex(digest, hex_out);
}

int sigv4_sign(struct sigv4 *out, const struct net_config *config, const char *url, const char *body)
{
    const char *host = strstr(url, "://"), *token = config->session_token;
    const char *names = token == NULL ? "host;x-amz-content-sha256;x-amz-date"
                                      : "host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
    char canonical[6144], scope[160], to_sign[512], hashed[2 * DIGEST_SIZE + 1], day[9], token_line[4200] = "";
    unsigned char key[2][EVP_MAX_MD_SIZE + 256];
    struct tm utc;
    time_t now = time(NULL);
    host = host == NULL ? url : host + 3;
    const char *path = strchr(host, '/');
    if (path == NULL) return -1;
    strftime(out->date, sizeof out->date, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
    snprintf(day, sizeof day, "%.8s", out->date);
    if (body == NULL) snprintf(out->payload, sizeof out->payload, "UNSIGNED-PAYLOAD");
    else hash(body, out->payload);
    if (token != NULL) snprintf(token_line, sizeof token_line, "x-amz-security-token:%s\n", token);
    int size = snprintf(canonical, sizeof canonical,
                        "POST\n%s\n\nhost:%.*s\nx-amz-content-sha256:%s\nx-amz-date:%s\n%s\n%s\n%s", path,
                        (int)(path - host), host, out->payload, out->date, token_line, names, out->payload);
    int key_size = snprintf((char *)key[0], sizeof key[0], "AWS4%s", config->secret_key);
    if (size >= (int)sizeof canonical || key_size >= (int)sizeof key[0]) return -1;
    hash(canonical, hashed);
    snprintf(scope, sizeof scope, "%s/%s/kinesisvideo/aws4_request", day, config->region);
    snprintf(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", out->date, scope, hashed);
    const char *steps[] = { day, config->region, "kinesisvideo", "aws4_request", to_sign };
    for (int i = 0; i < 5; i++) { /* each result is the key of the next */
        const unsigned char *text = (const unsigned char *)steps[i];
        HMAC(EVP_sha256(), key[i % 2], key_size, text, strlen(steps[i]), key[(i + 1) % 2], NULL);
        key_size = DIGEST_SIZE;
    }
    hex(key[1], hashed);
    size = snprintf(out->authorization, sizeof out->authorization,
                    "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", config->access_key, scope,
                    names, hashed);
    return size < (int)sizeof out->authorization ? 0 : -1;
}
