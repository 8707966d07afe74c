/*
 * Shared by the files of the workers' operations; the contract is ops.h.
 *
 *   ops.c            what requests have in common; records read and destroyed
 *   ops_create.c     a new sandbox
 *   ops_list.c       the list of them
 *   ops_start.c      starts
 *   ops_expose.c     ports
 *   ops_fork.c       a sandbox from another one
 *   ops_lifecycle.c  options, environment, sleep and wake
 *   ops_events.c     sandboxd as a whole: what happens, how it is
 *   ops_metrics.c    how starts went
 *   ops_host.c       what this host has: the pool, what sandboxes use
 *   ops_external.c   sandboxes that others run
 *   ops_domain.c     domains
 */

#ifndef SANDBOXD_OPS_PART_H
#define SANDBOXD_OPS_PART_H

#include "sandboxd/ops.h"

service *request_service(request *req);

/* The request answers with what becomes of the sandbox. */
void request_hold(request *req, sandbox *sb);

/* The sandbox that is asked about, or NULL after the request was failed. */
sandbox *request_sandbox(request *req);

/* Answers {}; data is the request. */
void request_done(void *data);

/* Answers with req->result, once all changes are durable and every live zone
 * has acknowledged req->revoked (0: there is none). */
void request_changed(request *req);

/* Answers {} once every live zone has acknowledged req->revoked, which is
 * durable. */
void request_revoked(void *data);

/* There is nothing to do, but who asked may not hear so before an earlier
 * revocation of the same thing is through. */
void request_settle(void *data);

/* ops_create.c */
void op_create(service *sv, request *req);

/* 507 below the floor of free disk that is kept for records and logs. */
int ops_disk_check(service *sv, error **err);

/* What creations have in common: an answer that was given before, for the same
 * Idempotency-Key (true: the request is through; asked: what its digest is of);
 * the answer of this one, which is noted together with the record that
 * registry_add() made between store_hold() and store_release(). */
bool ops_create_again(service *sv, request *req, const json_t *asked);
json_t *ops_create_result(bool created, json_t *warnings);
void ops_create_note(service *sv, request *req, const json_t *asked,
    uint64_t seq);
void ops_create_done(void *data);

/* ops_list.c */
void op_list(service *sv, request *req);

/* ops_start.c */
void op_start(service *sv, request *req);

/* Until when a start is waited for. */
uint64_t ops_start_deadline(service *sv, sandbox *sb);

/* ops_expose.c */
void op_expose(service *sv, request *req);
void op_unexpose(service *sv, request *req);
void op_ports(service *sv, request *req);

/* ops_fork.c */
void op_fork(service *sv, request *req);

/* ops_events.c */
void op_events(service *sv, request *req);
void op_health(service *sv, request *req);

/* ops_host.c */
void op_pool_stats(service *sv, request *req);
void op_pool_prime(service *sv, request *req);
void op_pool_shutdown(service *sv, request *req);
void op_stats(service *sv, request *req);

/* ops_metrics.c */
void op_metrics(service *sv, request *req);

/* ops_domain.c */
void op_domains(service *sv, request *req);
void op_domain_put(service *sv, request *req);
void op_domain_delete(service *sv, request *req);

/* ops_lifecycle.c */
void op_update(service *sv, request *req);
void op_env(service *sv, request *req);
void op_sleep(service *sv, request *req);
void op_wake(service *sv, request *req);

/* 400 if a ttl would be over already. */
int ops_check_ttl(const sandbox *sb, json_t *spec, error **err);

/* ops_external.c */
void op_external(service *sv, request *req);

/* 501 after which the request is failed: others run it. */
bool ops_unsupported(request *req, const sandbox *sb, const char *what);

/* {"sandbox": its public record, "etag"} */
json_t *ops_sandbox_result(service *sv, sandbox *sb);

/* 412 unless the record is one of those that match names; NULL: any. */
int ops_match(service *sv, sandbox *sb, const char *match, error **err);

#endif
