/* common/PlatformUtils.h — the path by which programs written for AWS's producer include its platform functions. Where such a program
 * brings AWS's own header, that one is taken, wherever it is on the include path; else pic_types.h has the types. */
#ifndef KVSPIC_COM_PLATFORMUTILS_H
#define KVSPIC_COM_PLATFORMUTILS_H

#if defined(__GNUC__) && defined(__has_include_next)
#if __has_include_next(<com/amazonaws/kinesis/video/common/PlatformUtils.h>)
#pragma GCC system_header /* include_next is an extension, which -Wpedantic reports */
#include_next <com/amazonaws/kinesis/video/common/PlatformUtils.h>
#define KVSPIC_FOUND_PLATFORMUTILS
#endif
#endif
#ifndef KVSPIC_FOUND_PLATFORMUTILS
#include "pic_types.h"
#endif

#endif
