/* cpd_nal.h — inside of cpd.h: configuration records out of parameter sets that a walk finds. Not for other modules. */
#ifndef KVS_MEDIA_CPD_NAL_H
#define KVS_MEDIA_CPD_NAL_H

#include "base/buf.h"
#include "media/nal.h"

/* Each writes a whole record or returns a status; the writer's `failed` is the caller's to look at. The walk is a fresh
 * one, by value: it is made several times. */
kvs_status kvs_cpd_write_avcc(struct kvs_nal_walk walk, struct kvs_writer *writer);
kvs_status kvs_cpd_write_hvcc(struct kvs_nal_walk walk, struct kvs_writer *writer);

/* Offsets of the slices that a decoder may begin with: the first one's NAL.   1 found, 0 none, or a status */
kvs_status kvs_cpd_find_entry(struct kvs_nal_walk walk, int is_h265, struct kvs_nal *nal_out);

#endif
